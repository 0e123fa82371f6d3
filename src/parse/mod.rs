//! Mail -> Report. Knows nothing of hard or soft; see classify.
