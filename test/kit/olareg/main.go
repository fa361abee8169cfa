// A registry on loopback with the referrers API. It prints its address, and keeps its content in memory.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

// Bytes of a page of referrers, so that a few of them need several pages.
const page = 700

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	registry := olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem},
		API:     config.ConfigAPI{Referrer: config.ConfigAPIReferrer{Limit: page}},
	})
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, registry))
}
