// Times golang.org/x/mod/sumdb/tlog at what bench/rows/proofs.ts times of ours: the same proofs, and leaves made alike.
//
//	main PROOFS.json LEAVES
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

type written struct {
	Size      int64
	Root      tlog.Hash
	Inclusion []struct {
		Index int64
		Leaf  tlog.Hash
		Proof tlog.RecordProof
	}
	Consistency []struct {
		From  int64
		Root  tlog.Hash
		Proof tlog.TreeProof
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func microseconds(start time.Time, count int) float64 {
	return float64(time.Since(start).Nanoseconds()) / 1000 / float64(count)
}

// stored holds every hash of a tree in memory.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		out[i] = s[at]
	}
	return out, nil
}

func main() {
	bytes, err := os.ReadFile(os.Args[1])
	check(err)
	leaves, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)
	var w written
	check(json.Unmarshal(bytes, &w))

	start := time.Now()
	for _, one := range w.Inclusion {
		check(tlog.CheckRecord(one.Proof, w.Size, w.Root, one.Index, one.Leaf))
	}
	inclusion := microseconds(start, len(w.Inclusion))
	start = time.Now()
	for _, one := range w.Consistency {
		check(tlog.CheckTree(one.Proof, w.Size, w.Root, one.From, one.Root))
	}
	consistency := microseconds(start, len(w.Consistency))

	hashes := make([]tlog.Hash, leaves)
	block, err := aes.NewCipher(make([]byte, 16))
	check(err)
	stream := cipher.NewCTR(block, make([]byte, 16))
	for i := range hashes {
		stream.XORKeyStream(hashes[i][:], hashes[i][:])
	}
	start = time.Now()
	var tree stored
	for i, leaf := range hashes {
		added, err := tlog.StoredHashesForRecordHash(int64(i), leaf, tree)
		check(err)
		tree = append(tree, added...)
	}
	root, err := tlog.TreeHash(leaves, tree)
	check(err)
	growth := float64(leaves) / time.Since(start).Seconds()
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"inclusion": inclusion, "consistency": consistency, "growth": growth, "root": root,
	}))
}
