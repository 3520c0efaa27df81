package sqlite

func writeUntilKilled(string) int { return 0 }
