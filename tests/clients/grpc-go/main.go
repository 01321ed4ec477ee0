// The official Go client for gRPC as an actor of the scenarios.
//
//	grpc-go HOST:PORT [tls]
package main

import (
	"errors"
	"os"
	"sync"

	client "github.com/apache/rocketmq-clients/golang/v5"

	"apogee.test/clients/acting"
)

func main() {
	client.EnableSsl = len(os.Args) == 3 && os.Args[2] == "tls"
	out := &acting.Output{}
	actor := &actor{endpoint: os.Args[1], events: acting.NewEvents(out)}
	acting.Serve(out, actor.events, func(order acting.Order) (acting.Report, error) {
		report, err := actor.do(order)
		return report, withCode(err)
	})
	actor.stopAll()
}

// withCode finds the protocol's code in a client's error.
func withCode(err error) error {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if status, ok := client.AsErrRpcStatus(cause); ok {
			return &acting.Refused{Code: int(status.Code), Text: err.Error()}
		}
	}
	return err
}

func (a *actor) stopAll() {
	var stopped sync.WaitGroup
	for _, stop := range a.stoppers.All() {
		stopped.Go(func() { _ = stop() })
	}
	stopped.Wait()
}
