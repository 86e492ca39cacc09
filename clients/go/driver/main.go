// The conformance driver: JSON cases on stdin, JSON answers on stdout, one a line, in order.
// Usage: driver ADDRESS [--ca PEM] [--token TOKEN]
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"example.com/sensorium/client"
	pb "example.com/sensorium/sensoriumv1"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: driver ADDRESS [--ca PEM] [--token TOKEN]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("driver", flag.ExitOnError)
	ca := flags.String("ca", "", "PEM file of the authority of the server's certificate")
	token := flags.String("token", "", "sent as authorization: Bearer, unless a case has its own")
	_ = flags.Parse(os.Args[2:])

	// The token is not the channel's: a case may have another, or want to see on a plain channel what the server says to it.
	conn, err := client.Connect(os.Args[1], *ca, "")
	if err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
	defer conn.Close()
	stub := pb.NewOrchestratorServiceClient(conn)
	lines := bufio.NewReader(os.Stdin) // a Scanner has a longest line
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var test testCase
		said := answer{Status: "UNKNOWN"} // what a case gets that this driver cannot even send
		if err := json.Unmarshal(line, &test); err != nil {
			said.Message = "driver: " + err.Error()
		} else if said, err = test.run(conn, stub, *token); err != nil {
			said = answer{Status: "UNKNOWN", Message: "driver: " + err.Error()}
		}
		said.Case = test.Case
		out, err := json.Marshal(said)
		if err != nil {
			out, _ = json.Marshal(answer{Case: test.Case, Status: "UNKNOWN", Message: "driver: " + err.Error()})
		}
		fmt.Printf("%s\n", out) // unbuffered
	}
}
