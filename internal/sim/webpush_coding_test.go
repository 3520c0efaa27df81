package sim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func unbase64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenReceiver is the browser of RFC 8291 section 5.
func goldenReceiver(t testing.TB) receiver {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(unbase64(t, "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	if err != nil {
		t.Fatal(err)
	}
	return receiver{key: key, auth: unbase64(t, "BTBZMqHH6r4Tts7J_aSIgg")}
}

const goldenBody = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"

// The example of RFC 8291 section 5, with the value in the middle that it prints.
func TestWebPushGolden(t *testing.T) {
	r, body := goldenReceiver(t), unbase64(t, goldenBody)
	sender, err := ecdh.P256().NewPublicKey(body[codingFixed:pushHeader])
	if err != nil {
		t.Fatal(err)
	}
	ikm, err := r.material(sender)
	if err != nil || base64.RawURLEncoding.EncodeToString(ikm) != "S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg" {
		t.Errorf("the input keying material is another: %v", err)
	}
	got, err := r.open(body)
	if err != nil || string(got) != "When I grow up, I want to be a watermelon" {
		t.Errorf("%q, %v", got, err)
	}
}

// The examples of RFC 8188 section 3: one record, and two.
func TestCodingGolden(t *testing.T) {
	for _, tt := range []struct {
		key, body, keyID string
		single           bool
	}{
		{"yqdlZ-tYemfogSmv7Ws5PQ", "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg", "", true},
		{"BO3ZVPxUlnLORbVGMpbT1Q", "uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA", "a1", false},
	} {
		c, err := parseCoded(unbase64(t, tt.body))
		if err != nil || string(c.keyID) != tt.keyID || c.single() != tt.single {
			t.Errorf("%+v, %v", c, err)
			continue
		}
		if got, err := c.open(unbase64(t, tt.key)); err != nil || string(got) != "I am the walrus" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// sealing is how a test encrypts a push. It is written for tests that break one step of it, and
// independent of the decoder.
type sealing struct {
	to        *ecdh.PublicKey
	auth      []byte
	rs        uint32
	delimiter []byte                    // after the text; nil is 0x02
	point     func(own []byte) []byte   // changes the sender's key in the header
	body      func(whole []byte) []byte // changes the body
	context   func(info string) string  // changes the info of the input keying material
}

func (s sealing) seal(t testing.TB, text []byte) []byte {
	t.Helper()
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := own.ECDH(s.to)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		b, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	point := own.PublicKey().Bytes()
	info := "WebPush: info\x00" + string(s.to.Bytes()) + string(point)
	if s.context != nil {
		info = s.context(info)
	}
	ikm, salt := derive(shared, s.auth, info, 32), make([]byte, 16)
	_, _ = rand.Read(salt)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	if s.delimiter == nil {
		s.delimiter = []byte{2}
	}
	if s.rs == 0 {
		s.rs = 4096
	}
	if s.point != nil {
		point = s.point(point)
	}
	body := binary.BigEndian.AppendUint32(salt, s.rs)
	body = append(append(body, byte(len(point))), point...)
	body = gcm.Seal(body, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), append(bytes.Clone(text), s.delimiter...), nil)
	if s.body != nil {
		body = s.body(body)
	}
	return body
}

// Each row breaks one thing of a good body.
func TestWebPushDecoder(t *testing.T) {
	r := goldenReceiver(t)
	good := sealing{to: r.key.PublicKey(), auth: r.auth}
	for _, tt := range []struct {
		name   string
		change func(*sealing)
		want   error
	}{
		{"good", func(*sealing) {}, nil},
		{"padded", func(s *sealing) { s.delimiter = append([]byte{2}, make([]byte, 500)...) }, nil},
		{"a record as long as rs", func(s *sealing) { s.rs = 5 + 1 + gcmTag }, nil},
		{"a record longer than rs", func(s *sealing) { s.rs = 5 + gcmTag }, errCodingRecords},
		{"rs of 18", func(s *sealing) { s.rs = 18 }, errCodingRecords},
		{"rs of 17", func(s *sealing) { s.rs = 17 }, errCodingRecord},
		{"nothing", func(s *sealing) { s.body = func([]byte) []byte { return nil } }, errCodingShort},
		{"20 bytes", func(s *sealing) { s.body = func(b []byte) []byte { return b[:20] } }, errCodingShort},
		{"half a header", func(s *sealing) { s.body = func(b []byte) []byte { return b[:85] } }, errCodingShort},
		{"no record", func(s *sealing) { s.body = func(b []byte) []byte { return b[:86] } }, errCodingDecrypt},
		{"no key", func(s *sealing) { s.point = func([]byte) []byte { return nil } }, errCodingKeyID},
		{"a compressed key", func(s *sealing) { s.point = func(p []byte) []byte { return append([]byte{2}, p[1:33]...) } }, errCodingKeyID},
		{"a key off the curve", func(s *sealing) {
			s.point = func(p []byte) []byte { p = bytes.Clone(p); p[64] ^= 1; return p }
		}, errCodingPoint},
		{"the point at infinity", func(s *sealing) { s.point = func([]byte) []byte { return make([]byte, 65) } }, errCodingPoint},
		{"another sender's key", func(s *sealing) { s.point = func([]byte) []byte { return r.key.PublicKey().Bytes() } }, errCodingDecrypt},
		{"another auth", func(s *sealing) { s.auth = make([]byte, 16) }, errCodingDecrypt},
		{"keys in the wrong order", func(s *sealing) {
			s.context = func(i string) string { n := len("WebPush: info\x00"); return i[:n] + i[n+65:] + i[n:n+65] }
		}, errCodingDecrypt},
		{"no zero byte in the context", func(s *sealing) {
			s.context = func(i string) string { return strings.Replace(i, "\x00", "", 1) }
		}, errCodingDecrypt},
		{"another salt", func(s *sealing) { s.body = func(b []byte) []byte { b[0] ^= 1; return b } }, errCodingDecrypt},
		{"a changed record", func(s *sealing) { s.body = func(b []byte) []byte { b[len(b)-1] ^= 1; return b } }, errCodingDecrypt},
		{"a record cut short", func(s *sealing) { s.body = func(b []byte) []byte { return b[:len(b)-1] } }, errCodingDecrypt},
		{"the delimiter of a record that is not the last", func(s *sealing) { s.delimiter = []byte{1} }, errCodingDelimiter},
		{"no delimiter", func(s *sealing) { s.delimiter = []byte{} }, errCodingDelimiter},
		{"padding that is not zero", func(s *sealing) { s.delimiter = []byte{2, 0, 3} }, errCodingDelimiter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.change(&s)
			got, err := r.open(s.seal(t, []byte("hello")))
			if !errors.Is(err, tt.want) || (err == nil && string(got) != "hello") {
				t.Errorf("%q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// Nothing but zeros is a record without a delimiter.
func TestOnlyZeros(t *testing.T) {
	r := goldenReceiver(t)
	s := sealing{to: r.key.PublicKey(), auth: r.auth, delimiter: []byte{0}}
	if got, err := r.open(s.seal(t, nil)); !errors.Is(err, errCodingDelimiter) {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzWebPushDecoder: no body may make the decoder panic, and only those that were encrypted
// for the receiver have a text.
func FuzzWebPushDecoder(f *testing.F) {
	r := goldenReceiver(f)
	golden := unbase64(f, goldenBody)
	f.Add(golden)
	f.Add([]byte{})
	f.Add(golden[:86])
	f.Add(append(bytes.Clone(golden), 0))
	two := bytes.Clone(golden)
	binary.BigEndian.PutUint32(two[saltSize:], 18)
	f.Add(two)
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := r.open(body)
		if err == nil && !bytes.Equal(body, golden) && len(body) < minPushBody {
			t.Errorf("%d bytes have a text of %d", len(body), len(text))
		}
		if err == nil && len(text) > len(body)-minPushBody {
			t.Errorf("a text of %d bytes came out of %d", len(text), len(body))
		}
		if c, err := parseCoded(body); err == nil {
			_, _ = c.open(make([]byte, 32)) // many records
		}
	})
}
