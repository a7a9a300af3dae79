"""A Flower app: clients that share no data train one kind of network, and the server fuses them."""
