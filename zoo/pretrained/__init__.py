"""The weights that are packaged with the zoo; `zoo.weights` checks them against the cards."""
