package runs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Option says something about a client.
type Option func(*security)

type security struct {
	tls         bool
	ca          string
	certificate string
	key         string
	token       *bearer
	giveUpAfter time.Duration
}

// WithTLS connects over TLS, and trusts the certificates of the system.
func WithTLS() Option {
	return func(s *security) { s.tls = true }
}

// WithCA connects over TLS, and trusts the authorities of a file in PEM alone.
func WithCA(file string) Option {
	return func(s *security) { s.tls, s.ca = true, file }
}

// WithCertificate connects over TLS, and shows a certificate of the client's own: a file with it, and those between it and
// the authority, and one with its key, both in PEM.
func WithCertificate(certificate, key string) Option {
	return func(s *security) { s.tls, s.certificate, s.key = true, certificate, key }
}

// WithToken shows a token with each call. Dial refuses one that is not visible ASCII: the end of a line comes with many.
func WithToken(token string) Option {
	return func(s *security) { s.token = (*bearer)(&token) }
}

// GiveUpAfter says how long calls are tried again while the gateway cannot be reached: 60 s by default; 0 or less: not again.
func GiveUpAfter(time time.Duration) Option {
	return func(s *security) { s.giveUpAfter = time }
}

func (s *security) dialOptions(address string) ([]grpc.DialOption, error) {
	if s.token != nil && !s.token.isWord() {
		return nil, errors.New("a token is one word of visible ASCII") // It is not shown.
	}
	// Not its successor, which is newer than what Debian has.
	transport := grpc.WithInsecure()
	if s.tls {
		config, err := s.tlsConfig()
		if err != nil {
			return nil, err
		}
		transport = grpc.WithTransportCredentials(credentials.NewTLS(config))
	} else if s.token != nil && !isLocal(address) {
		return nil, errors.New("a token is sent over TLS only, or within this machine")
	}
	options := []grpc.DialOption{transport}
	if s.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(s.token))
	}
	return options, nil
}

func (s *security) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{}
	if s.ca != "" {
		authorities, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%s has no certificate in PEM", s.ca)
		}
	}
	if s.certificate != "" || s.key != "" {
		if s.certificate == "" || s.key == "" {
			return nil, errors.New("a certificate and its key are given together")
		}
		own, err := tls.LoadX509KeyPair(s.certificate, s.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// bearer is a token, as grpc asks for it.
type bearer string

// isWord tells whether a header can have the token.
func (b bearer) isWord() bool {
	for _, character := range []byte(b) {
		if character < '!' || character > '~' {
			return false
		}
	}
	return b != ""
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is for grpc: dialOptions has looked after that.
func (b bearer) RequireTransportSecurity() bool { return false }
