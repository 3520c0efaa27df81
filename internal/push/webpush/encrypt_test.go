package webpush

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func decoded(t testing.TB, text string) []byte {
	t.Helper()
	b, err := b64.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func private(t testing.TB, text string) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(decoded(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestTheExampleOfRFC8291 is its section 5: the same keys and salt must give the same bytes.
func TestTheExampleOfRFC8291(t *testing.T) {
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	text := []byte("When I grow up, I want to be a watermelon")
	b := browser{key: private(t, "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), auth: decoded(t, "BTBZMqHH6r4Tts7J_aSIgg")}
	sender := private(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
	salt := [saltBytes]byte(decoded(t, "DGv6ra1nlYgDCS1FRnbzlw"))
	body, err := sealWith(b.key.PublicKey(), b.auth, text, sender, salt, headerBytes+len(text)+1+tagBytes)
	if err != nil {
		t.Fatal(err)
	}
	if got := b64.EncodeToString(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := b.read(decoded(t, want)); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the test's own browser reads %q, error %v", got, err)
	}
}

// TestTheFormOfABody is RFC 8188 section 2.1: salt, record size, key; one record; always as long.
func TestTheFormOfABody(t *testing.T) {
	b := newBrowser(t)
	seen := map[string]bool{}
	for _, n := range []int{0, 1, 500, maxText - 1, maxText} {
		body, err := seal(b.key.PublicKey(), b.auth, bytes.Repeat([]byte("x"), n))
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if len(body) != 2048 {
			t.Errorf("%d bytes become %d, want 2048", n, len(body))
		}
		if rs := binary.BigEndian.Uint32(body[16:]); rs != 4096 || len(body)-86 > int(rs) || body[20] != 65 || body[21] != 4 {
			t.Errorf("record size %d, key of %d bytes, form %d", rs, body[20], body[21])
		}
		for _, part := range []string{string(body[:16]), string(body[21:86])} {
			if seen[part] {
				t.Error("a salt or a key was used twice")
			}
			seen[part] = true
		}
		if text, err := b.read(body); err != nil || len(text) != n {
			t.Errorf("%d bytes arrive as %d, error %v", n, len(text), err)
		}
		for _, spoil := range []int{0, 30, 86, 2047} {
			wrong := bytes.Clone(body)
			wrong[spoil] ^= 1
			if _, err := b.read(wrong); err == nil {
				t.Errorf("a body that was changed at %d can be read", spoil)
			}
		}
	}
	if _, err := seal(b.key.PublicKey(), b.auth, make([]byte, maxText+1)); !errors.Is(err, errTextTooLong) {
		t.Errorf("a text that is too long: %v", err)
	}
	stranger := newBrowser(t)
	body, err := seal(b.key.PublicKey(), b.auth, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]browser{"another key": {stranger.key, b.auth}, "another secret": {b.key, stranger.auth}} {
		if _, err := other.read(body); err == nil {
			t.Errorf("a browser with %s reads it", name)
		}
	}
}

func TestAnyTextArrives(t *testing.T) {
	b := newBrowser(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 0, maxText).Draw(t, "text")
		if strings.HasSuffix(string(text), "\x00") {
			t.Skip("the test's browser cannot tell it from padding")
		}
		body, err := seal(b.key.PublicKey(), b.auth, text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.read(body); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes arrive as %d, error %v", len(text), len(got), err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	to := newBrowser(b)
	text := make([]byte, 1200)
	for b.Loop() {
		if _, err := seal(to.key.PublicKey(), to.auth, text); err != nil {
			b.Fatal(err)
		}
	}
}
