"""Steps that turn a record into a better-described record; the table `STEPS` names them."""
