// A tour of what most callers need. Usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]
//
// Exits with 0 only if everything came out as it should.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"example.com/sensorium/client"
	pb "example.com/sensorium/sensoriumv1"
)

// tour is what its steps share.
type tour struct {
	stub         pb.OrchestratorServiceClient
	image, audio *pb.Content
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("tour", flag.ExitOnError)
	ca := flags.String("ca", "", "PEM file of the authority of the server's certificate; without it, plain text")
	token := flags.String("token", "", "sent as authorization: Bearer")
	inputs := flags.String("inputs", ".", "folder with three.png and three.wav")
	_ = flags.Parse(os.Args[2:])

	if err := run(os.Args[1], *ca, *token, *inputs); err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
	fmt.Println("all came out as it should")
}

func run(address, ca, token, inputs string) error {
	image, err := os.ReadFile(filepath.Join(inputs, "three.png")) // whole files; the server knows the format from the bytes
	if err != nil {
		return err
	}
	audio, err := os.ReadFile(filepath.Join(inputs, "three.wav"))
	if err != nil {
		return err
	}
	conn, err := client.Connect(address, ca, token)
	if err != nil {
		return err
	}
	defer conn.Close()
	t := tour{pb.NewOrchestratorServiceClient(conn), imageOf(image), audioOf(audio)}
	for _, step := range []func() error{t.embed, t.classify, t.stream, t.badItem, t.badRequest} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func textOf(text string) *pb.Content {
	return &pb.Content{Kind: &pb.Content_Text{Text: text}}
}

func imageOf(file []byte) *pb.Content {
	return &pb.Content{Kind: &pb.Content_Image{Image: &pb.Image{Data: file}}}
}

func audioOf(file []byte) *pb.Content {
	return &pb.Content{Kind: &pb.Content_Audio{Audio: &pb.Audio{Source: &pb.Audio_Data{Data: file}}}}
}
