"""What a finished run has to say: an HTML page for people, and a Markdown page for records."""
