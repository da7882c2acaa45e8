"""One module per question: `claims()` reads its tables and says what came out."""
