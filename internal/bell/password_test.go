package bell

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func phc(costs string, salt, sum int) planet.Secret {
	encode := func(n int) string {
		return base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", n)))
	}
	return planet.Secret("$argon2id$v=19$" + costs + "$" + encode(salt) + "$" + encode(sum))
}

func TestParsePasswordHash(t *testing.T) {
	for _, costs := range []string{"m=65536,t=3,p=4", "m=19456,t=2,p=1", "m=47104,t=1,p=1", "m=262144,t=16,p=16"} {
		text := phc(costs, 16, 32)
		h, err := ParsePasswordHash(text)
		if err != nil || h.PHC() != text {
			t.Errorf("%s: %v, and back %v", costs, err, h.PHC() == text)
		}
	}
	good := phc("m=65536,t=3,p=4", 16, 32)
	for name, test := range map[string]struct {
		text planet.Secret
		want string
	}{
		"nothing":           {"", "is not an Argon2id hash"},
		"a password":        {planet.Secret(testlog.TextSecret("password")), "is not an Argon2id hash"},
		"argon2i":           {planet.Secret(strings.Replace(good.Reveal(), "argon2id", "argon2i", 1)), "is not an Argon2id hash"},
		"old version":       {planet.Secret(strings.Replace(good.Reveal(), "v=19", "v=16", 1)), "is not an Argon2id hash"},
		"another order":     {phc("t=3,m=65536,p=4", 16, 32), "is not an Argon2id hash"},
		"more parameters":   {phc("m=65536,t=3,p=4,x=1", 16, 32), "is not an Argon2id hash"},
		"a leading zero":    {phc("m=065536,t=3,p=4", 16, 32), "is not an Argon2id hash"},
		"no number":         {phc("m=,t=3,p=4", 16, 32), "is not an Argon2id hash"},
		"a sign":            {phc("m=+65536,t=3,p=4", 16, 32), "is not an Argon2id hash"},
		"padding":           {good + "=", "is not an Argon2id hash"},
		"a line end":        {good + "\n", "is not an Argon2id hash"},
		"something behind":  {good + "$", "is not an Argon2id hash"},
		"little memory":     {phc("m=19455,t=9,p=1", 16, 32), "is too weak"},
		"one pass":          {phc("m=47103,t=1,p=1", 16, 32), "is too weak"},
		"no pass":           {phc("m=65536,t=0,p=1", 16, 32), "is not an Argon2id hash"},
		"much memory":       {phc("m=262145,t=3,p=4", 16, 32), "costs too much"},
		"many passes":       {phc("m=65536,t=17,p=4", 16, 32), "costs too much"},
		"many lanes":        {phc("m=65536,t=3,p=256", 16, 32), "costs too much"},
		"too large to hold": {phc("m=4294967296,t=3,p=4", 16, 32), "is not an Argon2id hash"},
		"short salt":        {phc("m=65536,t=3,p=4", 15, 32), "salt of 15 bytes"},
		"long salt":         {phc("m=65536,t=3,p=4", 65, 32), "salt of 65 bytes"},
		"short hash":        {phc("m=65536,t=3,p=4", 16, 15), "hash of 15 bytes"},
		"long hash":         {phc("m=65536,t=3,p=4", 16, 65), "hash of 65 bytes"},
	} {
		_, err := ParsePasswordHash(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q in it", name, err, test.want)
			continue
		}
		if strings.Contains(err.Error(), testlog.Text) || strings.Contains(err.Error(), "eHh4") {
			t.Errorf("%s: the error shows the hash", name)
		}
	}
}

// What is taken is written as it was read, and is within the bounds.
func FuzzParsePasswordHash(f *testing.F) {
	f.Add(phc("m=65536,t=3,p=4", 16, 32).Reveal())
	f.Add(phc("m=19456,t=2,p=1", 64, 64).Reveal())
	f.Add("$argon2id$v=19$m=1,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParsePasswordHash(planet.Secret(text))
		if err != nil {
			return
		}
		if h.PHC().Reveal() != text {
			t.Errorf("%q becomes %q", text, h.PHC().Reveal())
		}
		if h.Memory < minPasswordMemory || h.Memory > MaxPasswordMemory || h.Passes < 1 || h.Lanes < 1 || len(h.Salt) < 16 || len(h.Sum) < 16 {
			t.Errorf("%q is taken", text)
		}
	})
}
