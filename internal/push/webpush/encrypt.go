package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The parts of a body (RFC 8188 section 2.1): salt, record size, the length of the sender's
// public key, the key, and one record. The record is the text, a delimiter, padding, and the
// tag of AES-GCM.
const (
	saltBytes   = 16
	keyBytes    = 65 // an uncompressed point on P-256
	headerBytes = saltBytes + 4 + 1 + keyBytes
	tagBytes    = 16
	// recordSize is what the header says. The one record is shorter, as the last one may be.
	recordSize = 4096
	// lastRecord follows the text of the last record (RFC 8188 section 2).
	lastRecord = 2
)

// bodyBytes is the length of every body, so that it tells nothing of the text. 4096 is what push
// services must take, but Firefox on Android holds some 2,700 (docs/push-providers.md 3.2).
const bodyBytes = 2048

// maxText is how long a text may be.
const maxText = bodyBytes - headerBytes - 1 - tagBytes

var errTextTooLong = errors.New("the text does not fit into the body")

// seal encrypts a text for a browser into a body of bodyBytes, with a key pair and a salt that
// are used once.
func seal(browser *ecdh.PublicKey, auth, text []byte) ([]byte, error) {
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	var salt [saltBytes]byte
	_, _ = rand.Read(salt[:]) // never fails
	return sealWith(browser, auth, text, sender, salt, bodyBytes)
}

// sealWith is seal with what makes a body unique, and its length.
func sealWith(browser *ecdh.PublicKey, auth, text []byte, sender *ecdh.PrivateKey, salt [saltBytes]byte, length int) ([]byte, error) {
	if headerBytes+len(text)+1+tagBytes > length {
		return nil, errTextTooLong
	}
	public := sender.PublicKey().Bytes()
	body := make([]byte, headerBytes, length)
	copy(body, salt[:])
	binary.BigEndian.PutUint32(body[saltBytes:], recordSize)
	body[saltBytes+4] = keyBytes
	copy(body[saltBytes+5:], public)

	record := make([]byte, length-headerBytes-tagBytes) // padding is zeros
	copy(record, text)
	record[len(text)] = lastRecord

	gcm, nonce, err := cipherFor(browser, auth, sender, salt)
	if err != nil {
		return nil, err
	}
	return gcm.Seal(body, nonce, record, nil), nil
}

// cipherFor derives the key and the nonce of the one record (RFC 8291 section 3.4).
func cipherFor(browser *ecdh.PublicKey, auth []byte, sender *ecdh.PrivateKey, salt [saltBytes]byte) (cipher.AEAD, []byte, error) {
	shared, err := sender.ECDH(browser)
	if err != nil {
		return nil, nil, fmt.Errorf("agree on a key: %w", err)
	}
	info := slices.Concat([]byte("WebPush: info\x00"), browser.Bytes(), sender.PublicKey().Bytes())
	ikm, err := hkdf.Key(sha256.New, shared, auth, string(info), 32)
	if err != nil {
		return nil, nil, fmt.Errorf("derive a key: %w", err)
	}
	cek, err := hkdf.Key(sha256.New, ikm, salt[:], "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, nil, fmt.Errorf("derive a key: %w", err)
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt[:], "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, nil, fmt.Errorf("derive a nonce: %w", err)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, nil, fmt.Errorf("use a key: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("use a key: %w", err)
	}
	return gcm, nonce, nil
}
