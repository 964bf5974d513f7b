# syntax=docker/dockerfile:1
# Sluice in a container: registry API on 5000, metrics and probes on 5001, data in /var/lib/sluice.
#   docker run -p 5000:5000 -v sluice:/var/lib/sluice sluice
# The root file system may be read-only; only the volume is written.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force

FROM ${NODE_IMAGE}
# Nothing is installed at run time: without a package manager there is less to attack.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx \
      /usr/local/bin/corepack /opt/yarn* /usr/local/bin/yarn /usr/local/bin/yarnpkg \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/sluice
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE* ./
COPY storage ./storage
COPY server ./server
# These go before a configuration file; set to nothing, they leave the matter to it.
ENV NODE_ENV=production \
    SLUICE_LISTEN=:5000 \
    SLUICE_ADMIN=:5001 \
    SLUICE_DATA=/var/lib/sluice
USER 10001:10001
VOLUME /var/lib/sluice
EXPOSE 5000 5001
HEALTHCHECK --interval=30s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.SLUICE_ADMIN || ':5001').split(':').pop() + '/livez').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "server/main.ts", "serve"]
