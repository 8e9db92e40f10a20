"""Where unsubscribe links lead."""
