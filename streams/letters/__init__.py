"""Dead letters: how one is made, which are chosen, how they are corrected, and how they are sent again."""
