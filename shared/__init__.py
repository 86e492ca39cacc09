"""What more than one service needs. Never imports services."""
