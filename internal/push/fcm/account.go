package fcm

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"regexp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// account is what a service account's file says, as far as it is needed.
type account struct {
	email    string
	project  string
	keyID    string
	key      *rsa.PrivateKey
	tokenURL string
}

// projectForm is what a Firebase project's ID, or its number, looks like.
var projectForm = regexp.MustCompile(`^[a-z0-9][a-z0-9:.-]{0,99}$`)

const wrongAccount = "the FCM service account is not usable: "

// readAccount reads the JSON file that the Firebase console gives for a service
// account. The error is of kind bell.Invalid and holds nothing of the file.
func readAccount(text planet.Secret) (account, error) {
	invalid := func(what string) (account, error) {
		return account{}, bell.E(bell.Invalid, wrongAccount+what, nil)
	}
	var file struct {
		Type     string `json:"type"`
		Project  string `json:"project_id"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		Email    string `json:"client_email"`
		TokenURI string `json:"token_uri"`
	}
	if json.Unmarshal([]byte(text.Reveal()), &file) != nil {
		return invalid("it must be the JSON file that the Firebase console gives (Project settings, Service accounts)")
	}
	if file.Type != "" && file.Type != "service_account" {
		return invalid("its type must be service_account; other kinds of credentials are not supported")
	}
	if file.Email == "" || file.KeyID == "" {
		return invalid("client_email or private_key_id is missing")
	}
	if !projectForm.MatchString(file.Project) {
		return invalid("project_id is missing or malformed")
	}
	u, err := url.Parse(file.TokenURI)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return invalid("token_uri must be an https URL, usually https://oauth2.googleapis.com/token")
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return invalid("private_key is not PEM; take the file as it was given, with its \\n")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return invalid("private_key does not load")
		}
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return invalid("private_key is not an RSA key")
	}
	return account{email: file.Email, project: file.Project, keyID: file.KeyID, key: key, tokenURL: file.TokenURI}, nil
}
