"""Training windows that are made on the device that trains, from series that are kept there."""
