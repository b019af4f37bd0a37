"""Programs that the lab runs inside its nodes. They end when their stdin does."""
