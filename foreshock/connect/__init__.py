"""Edge code that every connector shares: configuration, HTTP, authentication, paging."""
