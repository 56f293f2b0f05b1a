"""Values, words and contracts of Foreshock. Computes only: no HTTP, SQL, scheduler or clock."""
