package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"example.com/sensorium/client"
	pb "example.com/sensorium/sensoriumv1"
)

const (
	timeout     = 10 * time.Second // every call has a deadline: without one, the server's default counts
	streamCount = 1000
)

// embed gets vectors of one space for a text, a picture and a sound in one call, and shows metadata both ways.
func (t tour) embed() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	const id = "tour-go-1" // stands in the server's log; made there where absent
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", id)
	var header, trailer metadata.MD
	request := &pb.EmbedRequest{Contents: []*pb.Content{textOf("the digit three"), t.image, t.audio}}
	response, err := t.stub.Embed(ctx, request, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		return err
	}
	for _, result := range response.Results {
		if result.GetError() != nil {
			return errors.New(result.GetError().Message)
		}
		vector := result.GetEmbedding()
		fmt.Printf("embedded: %d numbers of %s\n", len(vector.Values), vector.Space)
	}
	if echoed := metadata.Join(header, trailer).Get("x-request-id"); len(echoed) != 1 || echoed[0] != id {
		return fmt.Errorf("x-request-id came back as %q", echoed)
	}
	fmt.Printf("request %s took %.1f ms on the server\n", id, float64(response.Receipt.TotalNs)/1e6)
	return nil
}

// classify names the picture and the sound by the labels' names alone (zero-shot).
func (t tour) classify() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request := &pb.ClassifyRequest{Contents: []*pb.Content{t.image, t.audio}, TopK: 1}
	for _, name := range []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"} {
		request.Labels = append(request.Labels, &pb.Label{Name: name})
	}
	response, err := t.stub.Classify(ctx, request)
	if err != nil {
		return err
	}
	for _, result := range response.Results {
		if result.GetError() != nil {
			return errors.New(result.GetError().Message)
		}
		best := result.GetRanking().Labels[0]
		fmt.Printf("classified: %s (%.3f)\n", best.Name, best.GetProbability())
		if best.Name != "three" {
			return errors.New("three was expected")
		}
	}
	return nil
}

// stream embeds many texts; answers may come out of order and are told apart by id.
func (t tour) stream() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // of the whole stream
	defer cancel()
	sent := 0
	next := func() *pb.EmbedStreamRequest {
		if sent == streamCount {
			return nil
		}
		sent++
		return &pb.EmbedStreamRequest{Id: strconv.Itoa(sent), Content: textOf(fmt.Sprint("text number ", sent))}
	}
	answered := map[string]bool{}
	take := func(response *pb.EmbedStreamResponse) bool {
		answered[response.Id] = response.Result.GetEmbedding() != nil
		return answered[response.Id]
	}
	if err := client.EmbedStream(ctx, t.stub, next, take); err != nil {
		return err
	}
	fmt.Printf("streamed: %d texts, %d answers\n", sent, len(answered))
	if len(answered) != streamCount {
		return errors.New("answers are missing")
	}
	return nil
}

// badItem shows that one bad item fails alone: the call is OK.
func (t tour) badItem() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request := &pb.EmbedRequest{Contents: []*pb.Content{textOf("this one is fine"), imageOf(nil)}}
	response, err := t.stub.Embed(ctx, request)
	if err != nil {
		return err
	}
	if response.Results[0].GetEmbedding() == nil || response.Results[1].GetError() == nil {
		return errors.New("the second item alone should fail")
	}
	fmt.Println("a bad item:")
	return show(client.ItemFailure(response.Results[1].GetError()), "ERROR_REASON_MEDIA_UNDECODABLE")
}

// badRequest shows a request that fails as a whole, with the same details.
func (t tour) badRequest() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := t.stub.Embed(ctx, &pb.EmbedRequest{})
	fmt.Println("a bad request:")
	return show(client.CallFailure(err), "ERROR_REASON_EMPTY_REQUEST")
}

// show says what an error tells a program: the field at fault, the reason, and whether to try again.
func show(failure *client.Failure, expected string) error {
	fmt.Printf("  %s: %s\n", failure.Code(), failure.Message())
	for _, violation := range failure.BadRequest.GetFieldViolations() {
		fmt.Printf("  field %s: %s\n", violation.Field, violation.Description)
	}
	fmt.Println("  reason", failure.Reason())
	if delay, is := failure.RetryDelay(); is {
		fmt.Println("  try again in", delay)
	} else {
		fmt.Println("  no use in trying again: no RetryInfo")
	}
	if failure.Code() != codes.InvalidArgument || failure.Reason() != expected || failure.BadRequest == nil {
		return fmt.Errorf("InvalidArgument with a BadRequest and %s was expected", expected)
	}
	return nil
}
