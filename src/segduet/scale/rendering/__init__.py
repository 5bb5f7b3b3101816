"""Job files of engines, made from a submission: file name -> text."""
