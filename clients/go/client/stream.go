package client

import (
	"context"
	"io"

	"google.golang.org/grpc"

	pb "example.com/sensorium/sensoriumv1"
)

// EmbedStream sends what next returns until that is nil, and gives the answers to take, in the order in which they come.
// Where take returns false, the call is cancelled, and its error has the code Canceled. next runs on a goroutine of its own,
// and neither is called after EmbedStream has returned.
func EmbedStream(ctx context.Context, stub pb.OrchestratorServiceClient, next func() *pb.EmbedStreamRequest,
	take func(*pb.EmbedStreamResponse) bool, options ...grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := stub.EmbedStream(ctx, options...)
	if err != nil {
		cancel()
		return err
	}
	sent := make(chan struct{})
	defer func() { cancel(); <-sent }()
	go func() {
		defer close(sent)
		for request := next(); request != nil; request = next() {
			if stream.Send(request) != nil { // blocks while flow control holds it; why it failed is for Recv to say
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for isWanted := true; ; {
		response, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if isWanted && !take(response) {
			isWanted = false
			cancel() // answers that are here already are read and dropped, up to the call's end
		}
	}
}
