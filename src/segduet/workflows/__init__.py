"""One public function per command; the only place where the stages meet."""
