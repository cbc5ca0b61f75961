"""What trainers of generators write: LoRAs, learnt words, networks; by any trainer of the field."""
