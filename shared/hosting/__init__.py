"""What every server of models has: the model side (`shared.inference`) joined to the server side (`shared.serving`)."""
