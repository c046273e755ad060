// A component server that counts words. The gateway starts it:
//
//	(cd examples/components/go && go build -o words)
//	runs-gateway serve --component /words=examples/components/go/words
//
// or it listens at a port of its own, `words 8081`, and the gateway is told `--component /words=http://127.0.0.1:8081`.
package main

import (
	"log"
	"os"
)

func main() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	log.SetFlags(0)
	if err := serve(components, port); err != nil {
		log.Fatal(err)
	}
}
