// Writes a layer as eStargz with the library that stargz-snapshotter itself writes them with, for scripts/make-lazy-images.mjs:
//
//	go run . TAR-OR-TAR.GZ OUT       prints { diffId, tocDigest } as JSON
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: estargz TAR-OR-TAR.GZ OUT"))
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		fail(err)
	}
}

func convert(from, to string) error {
	layer, err := os.Open(from)
	if err != nil {
		return err
	}
	defer layer.Close()
	info, err := layer.Stat()
	if err != nil {
		return err
	}
	// Two parts, whatever the machine has, so that the same layer always becomes the same blob.
	blob, err := estargz.Build(io.NewSectionReader(layer, 0, info.Size()), estargz.WithParallelism(2))
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, blob); err != nil {
		return err
	}
	// Only a blob that was closed knows what it unpacks to.
	if err := blob.Close(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"diffId":    blob.DiffID().String(),
		"tocDigest": blob.TOCDigest().String(),
	})
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "estargz:", err)
	os.Exit(1)
}
