# The command line as a container image. The build context needs the packed npm package (docs/container.md):
#   npm ci && npm pack && docker build --tag mirror-sync .
# BASE is any Linux image with Node.js 24 or newer and a shell.
ARG BASE=docker.io/library/node:24-bookworm-slim
FROM ${BASE}

LABEL org.opencontainers.image.title="mirror-sync" \
      org.opencontainers.image.description="Mirrors container images into S3 or a folder, and proves every byte" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/mirror-sync/mirror-sync"

# ADD unpacks the package: the program, its documentation, the licences of what it contains, and its SBOM.
ADD mirror-sync-*.tgz /opt/mirror-sync/

RUN ln -s /opt/mirror-sync/package/dist/cli/mirror-sync.js /usr/local/bin/mirror-sync \
 && mkdir -p /data /home/mirror-sync \
 && chown 65532:65532 /data /home/mirror-sync

# A number, so that Kubernetes can check runAsNonRoot. Credentials are read from $HOME/.docker/config.json.
USER 65532:65532
ENV HOME=/home/mirror-sync
WORKDIR /data
ENTRYPOINT ["mirror-sync"]
