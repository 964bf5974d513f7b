// A registry in memory with the referrers API, on a free loopback port.
//
// go-containerregistry's registry fills a referrer's artifactType from its config only, so that
// clients which filter by it find nothing, and does not say OCI-Subject, so that they push a
// fallback tag as well. Both are put right here.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"

	"github.com/google/go-containerregistry/pkg/registry"
)

var (
	referrersPath = regexp.MustCompile(`^/v2/(.+)/referrers/[^/]+$`)
	manifestPath  = regexp.MustCompile(`^/v2/.+/manifests/[^/]+$`)
)

type manifest struct {
	ArtifactType string `json:"artifactType"`
	Config       struct {
		MediaType string `json:"mediaType"`
	} `json:"config"`
	Subject *struct {
		Digest string `json:"digest"`
	} `json:"subject"`
}

type fixed struct{ inner http.Handler }

func (f fixed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if match := referrersPath.FindStringSubmatch(r.URL.Path); match != nil && r.Method == http.MethodGet {
		f.listReferrers(w, r, match[1])
		return
	}
	if r.Method == http.MethodPut && manifestPath.MatchString(r.URL.Path) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var m manifest
		if json.Unmarshal(body, &m) == nil && m.Subject != nil {
			w.Header().Set("OCI-Subject", m.Subject.Digest)
		}
	}
	f.inner.ServeHTTP(w, r)
}

func (f fixed) listReferrers(w http.ResponseWriter, r *http.Request, repository string) {
	answer := httptest.NewRecorder()
	f.inner.ServeHTTP(answer, r)
	index := struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []map[string]any `json:"manifests"`
	}{2, "application/vnd.oci.image.index.v1+json", []map[string]any{}}
	if answer.Code == http.StatusOK {
		if err := json.Unmarshal(answer.Body.Bytes(), &index); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	wanted := r.URL.Query().Get("artifactType")
	kept := []map[string]any{}
	for _, descriptor := range index.Manifests {
		kind := f.artifactType(repository, fmt.Sprint(descriptor["digest"]))
		descriptor["artifactType"] = kind
		if wanted == "" || wanted == kind {
			kept = append(kept, descriptor)
		}
	}
	index.Manifests = kept
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", index.MediaType)
	json.NewEncoder(w).Encode(index)
}

func (f fixed) artifactType(repository, digest string) string {
	answer := httptest.NewRecorder()
	f.inner.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v2/"+repository+"/manifests/"+digest, nil))
	var m manifest
	if json.Unmarshal(answer.Body.Bytes(), &m) != nil {
		return ""
	}
	if m.ArtifactType != "" {
		return m.ArtifactType
	}
	return m.Config.MediaType
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, fixed{registry.New(registry.WithReferrersSupport(true), quiet)}))
}
