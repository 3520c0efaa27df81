package bell

import "github.com/google/uuid"

// NewID makes a time-ordered UUID (version 7) in canonical lower case. Time-ordered,
// because random keys halve a database's write rate once its index has outgrown the
// cache; a UUID, because a delivery's ID is also its apns-id.
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil { // crypto/rand does not fail on supported systems
		return uuid.NewString()
	}
	return id.String()
}
