"""One file per layout a user's data may come in; `registry` names them."""
