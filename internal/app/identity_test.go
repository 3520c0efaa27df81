package app

import (
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestIdentityBelongsToKeyAndNonce(t *testing.T) {
	key := planet.Secret(testlog.HexSecret(1, 64))
	it := Identity(key, "nonce")
	if it != Identity(key, "nonce") || len(it) != 43 {
		t.Errorf("%q is not an identity", it)
	}
	if it == Identity(key, "another") || it == Identity(planet.Secret(testlog.HexSecret(2, 64)), "nonce") {
		t.Error("two servers, or two nonces, have the same identity")
	}
}
