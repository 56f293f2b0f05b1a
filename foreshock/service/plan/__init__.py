"""``foreshock rules plan``: what another configuration would have made of history, incident by incident."""
