package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

const (
	// Below the range from which systems take ports for outgoing connections. Otherwise a client
	// could be given the port of a broker that is about to be restarted.
	portFirst = 12_000
	portEnd   = 32_000

	attemptsMax = 200
)

var (
	portsMutex sync.Mutex
	portsTaken = map[int]bool{}
)

// freePorts chooses ports for a nameserver, a broker and its gRPC door. The broker also listens on its
// port minus two for clients with the VIP channel on, and replicates on its port plus one.
func freePorts() (nameserver, broker, grpc int, err error) {
	portsMutex.Lock()
	defer portsMutex.Unlock()
	for range attemptsMax {
		nameserver = portFirst + rand.IntN(portEnd-portFirst-8)
		broker, grpc = nameserver+4, nameserver+6
		block := []int{nameserver, broker - 2, broker - 1, broker, broker + 1, grpc}
		if allFree(block) {
			for _, port := range block {
				portsTaken[port] = true
			}
			return nameserver, broker, grpc, nil
		}
	}
	return 0, 0, 0, errors.New("no free loopback ports found")
}

func allFree(ports []int) bool {
	for _, port := range ports {
		if portsTaken[port] {
			return false
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		_ = listener.Close()
	}
	return true
}
