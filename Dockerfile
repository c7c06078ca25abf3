# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /out/penstock ./cmd/penstock \
 && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/sfsim ./cmd/sfsim

# The simulator, for docker-compose.yml and for trying things out; never for production.
FROM gcr.io/distroless/static-debian12:nonroot AS sfsim
COPY --from=build /out/sfsim /sfsim
EXPOSE 8090 8091
USER nonroot:nonroot
ENTRYPOINT ["/sfsim"]

# The service: one static binary, certificates, no shell, not root. It is the last stage, so it is what `docker build` makes.
FROM gcr.io/distroless/static-debian12:nonroot AS penstock
COPY --from=build /out/penstock /penstock
EXPOSE 8080
USER nonroot:nonroot
ENTRYPOINT ["/penstock"]
CMD ["run", "-c", "/etc/penstock/penstock.yaml"]
