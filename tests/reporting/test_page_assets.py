import gzip
import hashlib
import json
from importlib import resources

from segduet.reporting.page_assets import (
    NIIVUE_FILE,
    content_policy,
    data_block,
    niivue_script,
    own_script,
)


def test_data_cannot_end_its_script_and_reads_the_same():
    """C3.15: also within JSON, and the two line separators that scripts do not allow."""
    content = {"</script><!--": "&<>\u2028\u2029", "n": [1.5, None]}
    block = data_block(content)
    assert not set("<>&\u2028") & set(block)
    assert json.loads(block) == content


def test_no_script_may_run_where_a_page_has_none():
    assert "script-src 'none'" in content_policy([])


def test_niivue_is_the_published_file():
    """dist/niivue.umd.js of the npm package, byte by byte; its licence is beside it."""
    folder = resources.files("segduet.reporting") / "vendor"
    digest = hashlib.sha256(gzip.decompress((folder / NIIVUE_FILE).read_bytes())).hexdigest()
    assert digest == "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    licence = (folder / NIIVUE_FILE.replace(".min.js.gz", ".LICENSE")).read_text()
    assert "BSD 2-Clause License" in licence
    assert "@niivue/niivue 0.69.0" in licence
    assert niivue_script().startswith("(function(")


def test_own_scripts_keep_their_line_ends():
    """A browser compares the hash after turning every line end into one character."""
    assert "\r" not in own_script("table.js") + niivue_script()
