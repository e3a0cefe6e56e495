"""Ways to use Sfumato. Each is thin: it parses, calls, and shows."""
