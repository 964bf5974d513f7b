// Asks containerd's Kubernetes side to pull an image, as the kubelet does: the log-in of a pod's
// pull secret comes with the request, and names no registry.
//
//	PULL_USERNAME=u PULL_PASSWORD=p cri-pull unix:///run/containerd.sock registry/image:tag
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	if len(os.Args) != 3 {
		fail("expected a socket and an image")
	}
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fail(err.Error())
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request := &cri.PullImageRequest{Image: &cri.ImageSpec{Image: os.Args[2]}, Auth: auth()}
	pulled, err := cri.NewImageServiceClient(connection).PullImage(ctx, request)
	if err != nil {
		fail(err.Error())
	}
	fmt.Println(pulled.ImageRef)
}

func auth() *cri.AuthConfig {
	username := os.Getenv("PULL_USERNAME")
	if username == "" {
		return nil
	}
	return &cri.AuthConfig{Username: username, Password: os.Getenv("PULL_PASSWORD")}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
