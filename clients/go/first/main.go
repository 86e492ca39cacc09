// The smallest call: embeds one text. Usage: first ADDRESS
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"

	pb "example.com/sensorium/sensoriumv1"
)

func main() {
	conn, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	text := &pb.Content{Kind: &pb.Content_Text{Text: "a small red circle"}}
	response, err := pb.NewOrchestratorServiceClient(conn).Embed(ctx, &pb.EmbedRequest{Contents: []*pb.Content{text}})
	if err != nil {
		log.Fatal(err)
	}
	result := response.Results[0] // one result a content; each may fail by itself
	if result.GetError() != nil {
		log.Fatal(result.GetError().Message)
	}
	fmt.Printf("%s, %d numbers: %.4f …\n", result.GetEmbedding().Space, len(result.GetEmbedding().Values), result.GetEmbedding().Values[:2])
}
