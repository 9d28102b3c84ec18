/**
 * A pipeline for a CI that is there already: a file of its own format in which each service is a job that calls kws. What the steps
 * are stays in kws.yaml, so the file need not change with them.
 */

export const exportFormats = ["jenkinsfile", "github", "gitlab"] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** Where the format's CI looks for it. */
export const exportPaths: Record<ExportFormat, string> = {
  jenkinsfile: "Jenkinsfile",
  github: ".github/workflows/kws.yml",
  gitlab: ".gitlab-ci.yml",
};

/** `services` are their names, whose letters need no quoting. */
export function exportPipeline(format: ExportFormat, services: string[]): string {
  return { jenkinsfile, github, gitlab }[format](services);
}

const header = "Made by `kws pipeline export`: the steps are in kws.yaml, and this file calls them.";

function github(services: string[]): string {
  return `# ${header}
name: kws
on:
  push:
    branches: ["**"]
    tags: ["**"]
  pull_request:
jobs:
${services.map(githubJob).join("")}`;
}

function githubJob(name: string): string {
  return `  ${name}:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: { fetch-depth: 0 }
      - uses: actions/setup-node@v4
        with: { node-version: 24 }
      - uses: actions/cache@v4
        with:
          path: ~/.cache/kws
          key: kws-${name}-\${{ github.sha }}
          restore-keys: kws-${name}-
      - run: |
          if [ "$EVENT" = pull_request ]; then set -- --event pull-request --branch "$REF"
          elif [ "$KIND" = tag ]; then set -- --event tag --tag "$REF" --publish
          else set -- --event push --branch "$REF" --publish; fi
          npx kws pipeline run ${name} --local "$@"
        env:
          EVENT: \${{ github.event_name }}
          KIND: \${{ github.ref_type }}
          REF: \${{ github.head_ref || github.ref_name }}
          SOPS_AGE_KEY: \${{ secrets.SOPS_AGE_KEY }}
`;
}

function gitlab(services: string[]): string {
  return `# ${header}
stages: [kws]
${services.map(gitlabJob).join("")}`;
}

function gitlabJob(name: string): string {
  return `
${name}:
  stage: kws
  image: node:24
  variables: { GIT_DEPTH: "0", XDG_CACHE_HOME: "$CI_PROJECT_DIR/.cache" }
  cache: { key: kws-${name}, paths: [.cache] }
  script:
    - |
      if [ -n "$CI_COMMIT_TAG" ]; then set -- --event tag --tag "$CI_COMMIT_TAG" --publish
      elif [ "$CI_PIPELINE_SOURCE" = merge_request_event ]; then
        set -- --event pull-request --branch "$CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"
      else set -- --event push --branch "$CI_COMMIT_BRANCH" --publish; fi
      npx kws pipeline run ${name} --local "$@"
`;
}

function jenkinsfile(services: string[]): string {
  return `// ${header}
pipeline {
  agent any
  stages {
    stage('kws') {
      parallel {
${services.map(jenkinsStage).join("")}      }
    }
  }
}
`;
}

function jenkinsStage(name: string): string {
  return `        stage('${name}') {
          steps {
            sh '''
              if [ -n "$TAG_NAME" ]; then set -- --event tag --tag "$TAG_NAME" --publish
              elif [ -n "$CHANGE_ID" ]; then set -- --event pull-request --branch "$CHANGE_BRANCH"
              else set -- --event push --branch "\${BRANCH_NAME:-$GIT_BRANCH}" --publish; fi
              npx kws pipeline run ${name} --local "$@"
            '''
          }
        }
`;
}
