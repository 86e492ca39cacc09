// Package client is what to copy into your program: the channel, the details of errors, a stream with flow control.
package client

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// maxMessageBytes is Sensorium's limit; gRPC takes in 4 MiB unless told otherwise.
const maxMessageBytes = 64 << 20

// Connect opens a channel, which is for the whole program and safe for goroutines. It fails only where it cannot be set
// up: whether there is a server shows in the first call.
//
// ca is a PEM file with the authority of the server's certificate; "" speaks plain text. token goes with every call; "" sends
// none, and one without ca is refused, since it would travel in the open.
func Connect(address, ca, token string) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes))}
	switch {
	case ca != "":
		secured, err := credentials.NewClientTLSFromFile(ca, "")
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(secured))
	case token != "":
		return nil, errors.New("a token needs TLS: give ca too")
	default:
		options = append(options, grpc.WithInsecure())
	}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return grpc.Dial(address, options...)
}

// bearer is a token as gRPC sends it with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return true }
