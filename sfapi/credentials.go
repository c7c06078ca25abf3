package sfapi

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Flow is an OAuth flow between servers.
type Flow string

const (
	// ClientCredentials logs in with a consumer key and secret as the app's "Run As" user.
	ClientCredentials Flow = "client_credentials"
	// JWTBearer logs in with a signed assertion as a user who is admitted to the app.
	JWTBearer Flow = "jwt_bearer"
)

// Flows lists every [Flow].
func Flows() []Flow { return []Flow{ClientCredentials, JWTBearer} }

// Credentials say who logs in. Files are read at every login, so a rotated secret needs no restart.
type Credentials struct {
	Flow             Flow   // defaults to client_credentials
	ClientID         string // consumer key of the app
	ClientSecret     string // client_credentials: the secret, or
	ClientSecretFile string // the file that holds it
	Username         string // jwt_bearer: the user
	PrivateKeyFile   string // jwt_bearer: an RSA key of at least 2048 bits in PEM form
	// Audience of the assertion. Defaults to https://test.salesforce.com for sandboxes, else https://login.salesforce.com.
	Audience string
}

// minKeyBits is the smallest RSA key that Salesforce takes.
const minKeyBits = 2048

// audience is whom a signed assertion is meant for: Salesforce's common login host, whatever the org's own.
func (c Credentials) audience(login *url.URL) string {
	host := strings.ToLower(login.Hostname())
	switch {
	case c.Audience != "":
		return c.Audience
	case host == "test.salesforce.com", strings.Contains(host, ".sandbox."):
		return "https://test.salesforce.com"
	default:
		return "https://login.salesforce.com"
	}
}

// validate checks that everything the flow needs is there, and can be read.
func (c Credentials) validate() error {
	var problems []error
	require := func(value, what string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("%s is missing", what))
		}
	}
	require(c.ClientID, "client id")
	switch c.Flow {
	case ClientCredentials, "":
		if (c.ClientSecret == "") == (c.ClientSecretFile == "") {
			problems = append(problems, errors.New("either client secret or client secret file must be set"))
		}
	case JWTBearer:
		require(c.Username, "username")
		require(c.PrivateKeyFile, "private key file")
	default:
		problems = append(problems, fmt.Errorf("auth flow %q is none of %v", c.Flow, Flows()))
	}
	if len(problems) == 0 {
		_, err := c.load()
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// load reads the secret or the private key, as it is now.
func (c Credentials) load() (string, error) {
	if c.Flow == JWTBearer {
		return loadKey(c.PrivateKeyFile)
	}
	if c.ClientSecretFile == "" {
		return c.ClientSecret, nil
	}
	b, err := os.ReadFile(c.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("client secret: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", fmt.Errorf("client secret: %s is empty", c.ClientSecretFile)
	}
	return secret, nil
}

// loadKey reads a key and checks that Salesforce will take it: RSA of at least 2048 bits.
func loadKey(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("private key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return "", fmt.Errorf("private key: %s is not in PEM form", file)
	}
	var key any
	if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return "", fmt.Errorf("private key: %s is neither PKCS #8 nor PKCS #1", file)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok || rsaKey.N.BitLen() < minKeyBits {
		return "", fmt.Errorf("private key: %s is not an RSA key of at least %d bits", file, minKeyBits)
	}
	return string(b), nil
}
