package sim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// The sizes of RFC 8188 and RFC 8291. A push has at most one record, so its body is the
// header with a key of 65 bytes, and one record.
const (
	saltSize    = 16
	codingFixed = saltSize + 4 + 1        // salt, rs, idlen
	pointSize   = 65                      // an uncompressed point of P-256
	pushHeader  = codingFixed + pointSize // 86
	gcmTag      = 16
	minRecord   = gcmTag + 2              // RFC 8188 2.1: smaller values of rs are invalid
	minPushBody = pushHeader + 1 + gcmTag // an empty message: 103
	authSize    = 16
)

// What the decoder says of a body that it cannot read. Each wraps nothing and names no byte
// of it.
var (
	errCodingShort     = errors.New("the body is shorter than the header of aes128gcm")
	errCodingRecord    = errors.New("rs is not greater than 17")
	errCodingKeyID     = errors.New("idlen is not 65, so there is no public key of the sender")
	errCodingPoint     = errors.New("the sender's public key is not a point of P-256")
	errCodingRecords   = errors.New("a push has one record, and this body has more")
	errCodingDecrypt   = errors.New("the record does not decrypt with the subscription's keys")
	errCodingDelimiter = errors.New("the record does not end with the delimiter 0x02 and zeros")
)

// coded is a body in the coding aes128gcm (RFC 8188).
type coded struct {
	salt    []byte
	rs      uint32
	keyID   []byte
	records []byte // ciphertext of all records
}

// parseCoded reads the header.
func parseCoded(body []byte) (coded, error) {
	if len(body) < codingFixed || len(body) < codingFixed+int(body[codingFixed-1]) {
		return coded{}, errCodingShort
	}
	rest := body[codingFixed:]
	n := int(body[codingFixed-1])
	c := coded{salt: body[:saltSize], rs: binary.BigEndian.Uint32(body[saltSize:]), keyID: rest[:n], records: rest[n:]}
	if c.rs < minRecord {
		return coded{}, errCodingRecord
	}
	return c, nil
}

// single says whether there is one record and no more.
func (c coded) single() bool { return uint64(len(c.records)) <= uint64(c.rs) }

// open decrypts all records with the input keying material.
func (c coded) open(ikm []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, ikm, c.salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, errCodingDecrypt
	}
	base, err := hkdf.Key(sha256.New, ikm, c.salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, errCodingDecrypt
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errCodingDecrypt
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errCodingDecrypt
	}
	var text []byte
	for seq, rest := uint64(0), c.records; ; seq++ {
		record := rest[:min(uint64(len(rest)), uint64(c.rs))]
		rest = rest[len(record):]
		plain, err := gcm.Open(nil, recordNonce(base, seq), record, nil)
		if err != nil {
			return nil, errCodingDecrypt
		}
		last := len(rest) == 0
		if plain, err = unpad(plain, last); err != nil {
			return nil, err
		}
		if text = append(text, plain...); last {
			return text, nil
		}
	}
}

// recordNonce is the nonce of a record (RFC 8188 2.3).
func recordNonce(base []byte, seq uint64) []byte {
	nonce := bytes.Clone(base)
	low := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^seq)
	return nonce
}

// unpad takes zeros and the delimiter off: 0x02 ends the last record, 0x01 the others.
func unpad(plain []byte, last bool) ([]byte, error) {
	plain = bytes.TrimRight(plain, "\x00")
	delimiter := byte(1)
	if last {
		delimiter = 2
	}
	if n := len(plain); n > 0 && plain[n-1] == delimiter {
		return plain[:n-1], nil
	}
	return nil, errCodingDelimiter
}

// receiver is the secret half of a subscription.
type receiver struct {
	key  *ecdh.PrivateKey
	auth []byte
}

// open reads the body of a push (RFC 8291) as a browser does.
func (r receiver) open(body []byte) ([]byte, error) {
	c, err := parseCoded(body)
	switch {
	case err != nil:
		return nil, err
	case len(c.keyID) != pointSize:
		return nil, errCodingKeyID
	case !c.single():
		return nil, errCodingRecords
	}
	sender, err := ecdh.P256().NewPublicKey(c.keyID)
	if err != nil {
		return nil, errCodingPoint
	}
	ikm, err := r.material(sender)
	if err != nil {
		return nil, errCodingDecrypt
	}
	return c.open(ikm)
}

// material combines the shared secret with the authentication secret (RFC 8291 3.4).
func (r receiver) material(sender *ecdh.PublicKey) ([]byte, error) {
	shared, err := r.key.ECDH(sender)
	if err != nil {
		return nil, err
	}
	info := "WebPush: info\x00" + string(r.key.PublicKey().Bytes()) + string(sender.Bytes())
	return hkdf.Key(sha256.New, shared, r.auth, info, 32)
}
