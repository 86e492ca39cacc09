package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.com/sensorium/client"
	pb "example.com/sensorium/sensoriumv1"
)

// testCase is one line of stdin.
type testCase struct {
	Case        string            `json:"case"`
	Method      string            `json:"method"`
	DeadlineMs  int64             `json:"deadline_ms"`
	Metadata    map[string]string `json:"metadata"`
	Requests    []json.RawMessage `json:"requests"`
	Token       *string           `json:"token"`        // nil: the driver's
	CancelAfter *int              `json:"cancel_after"` // nil: never
}

// answer is one line of stdout.
type answer struct {
	Case      string            `json:"case"`
	Status    string            `json:"status"`
	Message   string            `json:"message"`
	Responses []json.RawMessage `json:"responses"`
	Details   []json.RawMessage `json:"details"`
	Metadata  map[string]string `json:"metadata"`
}

// run makes the call of a case. An error means that the case could not be sent, or its answer not be written as JSON.
func (test testCase) run(conn *grpc.ClientConn, stub pb.OrchestratorServiceClient, token string) (answer, error) {
	if test.DeadlineMs == 0 {
		test.DeadlineMs = 10000
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(test.DeadlineMs)*time.Millisecond)
	defer cancel()
	sent := metadata.New(test.Metadata)
	if test.Token != nil {
		token = *test.Token
	}
	if token != "" {
		sent.Set("authorization", "Bearer "+token)
	}
	ctx = metadata.NewOutgoingContext(ctx, sent)

	var header, trailer metadata.MD
	said := answer{Responses: []json.RawMessage{}, Details: []json.RawMessage{}, Metadata: map[string]string{}}
	method, err := methodOf(test.Method)
	if err != nil {
		return said, err
	}
	requests := make([]proto.Message, len(test.Requests))
	for i, request := range test.Requests {
		if requests[i], err = newMessage(method.Input()); err != nil {
			return said, err
		}
		if err := protojson.Unmarshal(request, requests[i]); err != nil {
			return said, err
		}
	}
	var responses []proto.Message
	var failed error
	if method.IsStreamingClient() {
		responses, failed = test.stream(ctx, stub, requests, grpc.Header(&header), grpc.Trailer(&trailer))
	} else {
		if len(requests) != 1 {
			return said, fmt.Errorf("%s takes one request, not %d", test.Method, len(requests))
		}
		response, err := newMessage(method.Output())
		if err != nil {
			return said, err
		}
		failed = conn.Invoke(ctx, "/"+test.Method, requests[0], response, grpc.Header(&header), grpc.Trailer(&trailer))
		if failed == nil {
			responses = append(responses, response)
		}
	}
	err = said.fill(responses, failed, metadata.Join(header, trailer))
	return said, err
}

func (test testCase) stream(ctx context.Context, stub pb.OrchestratorServiceClient, requests []proto.Message,
	options ...grpc.CallOption) (responses []proto.Message, err error) {
	next := func() *pb.EmbedStreamRequest {
		if len(requests) == 0 {
			return nil
		}
		request := requests[0].(*pb.EmbedStreamRequest)
		requests = requests[1:]
		return request
	}
	take := func(response *pb.EmbedStreamResponse) bool {
		responses = append(responses, response)
		return test.CancelAfter == nil || len(responses) < *test.CancelAfter
	}
	err = client.EmbedStream(ctx, stub, next, take, options...)
	return responses, err
}

// fill writes what came of a call.
func (a *answer) fill(responses []proto.Message, failed error, received metadata.MD) error {
	failure := client.CallFailure(failed)
	a.Status, a.Message = code.Code(failure.Code()).String(), failure.Message()
	for _, response := range responses {
		text, err := protojson.Marshal(response)
		if err != nil {
			return err
		}
		a.Responses = append(a.Responses, text)
	}
	for _, detail := range failure.Proto().GetDetails() {
		if text, err := protojson.Marshal(detail); err == nil { // a type that this driver does not know is left out
			a.Details = append(a.Details, text)
		}
	}
	for key, values := range received {
		if !strings.HasSuffix(key, "-bin") {
			a.Metadata[key] = values[len(values)-1]
		}
	}
	return nil
}

// methodOf finds a method by its full name, such as "sensorium.v1.OrchestratorService/Embed".
func methodOf(name string) (protoreflect.MethodDescriptor, error) {
	full := protoreflect.FullName(strings.ReplaceAll(name, "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(full)
	if err != nil {
		return nil, err
	}
	method, is := found.(protoreflect.MethodDescriptor)
	if !is {
		return nil, fmt.Errorf("%s is no method", name)
	}
	return method, nil
}

func newMessage(descriptor protoreflect.MessageDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}
