{{- define "switchyard.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "switchyard.labels" -}}
app.kubernetes.io/name: switchyard
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "switchyard.allLabels" -}}
{{ include "switchyard.labels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "switchyard.secret" -}}
{{- required "existingSecret is empty: name a Secret with the keys that values.yaml lists" .Values.existingSecret -}}
{{- end }}

{{- define "switchyard.image" -}}
{{- $image := ternary .root.Values.gpuImage .root.Values.image (default false .gpu) -}}
{{ $image.repository }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end }}

{{/* One process's container and all that its pod shares. Takes root, component, command, and gpu, port, probe, resources, env. */}}
{{- define "switchyard.pod" -}}
serviceAccountName: {{ include "switchyard.name" .root }}
automountServiceAccountToken: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: {{ default 30 .grace }}
containers:
  - name: {{ .component }}
    image: {{ include "switchyard.image" . | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: {{- toYaml .command | nindent 6 }}
    envFrom:
      - configMapRef: {name: {{ include "switchyard.name" .root }}}
      - secretRef: {name: {{ include "switchyard.secret" .root }}}
    {{- with .env }}
    env:
      {{- range $name, $value := . }}
      - {name: {{ $name }}, value: {{ $value | quote }}}
      {{- end }}
    {{- end }}
    {{- with .port }}
    ports:
      - {name: http, containerPort: {{ . }}}
    {{- end }}
    {{- with .ready }}
    startupProbe: {httpGet: {path: {{ . }}, port: http}, periodSeconds: 5, failureThreshold: 36}
    readinessProbe: {httpGet: {path: {{ . }}, port: http}, periodSeconds: 5, failureThreshold: 2}
    livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 15, failureThreshold: 4}
    {{- end }}
    {{- with .alive }}
    livenessProbe:
      exec:
        command: {{- toYaml . | nindent 10 }}
      initialDelaySeconds: 60
      periodSeconds: 60
      timeoutSeconds: 20
    {{- end }}
    resources: {{- toYaml .resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: state, mountPath: /data}
      - {name: tmp, mountPath: /tmp}
volumes:
  - name: state
    persistentVolumeClaim:
      claimName: {{ default (include "switchyard.name" .root) .root.Values.state.existingClaim }}
  - name: tmp
    emptyDir: {}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "switchyard.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "switchyard.name" .root }}-{{ .component }}
  labels: {{- include "switchyard.allLabels" . | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ default 1 .replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "switchyard.labels" . | nindent 6 }}
  strategy:
    {{- if .alone }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
    {{- end }}
  template:
    metadata:
      labels: {{- include "switchyard.allLabels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include (print .root.Template.BasePath "/config.yaml") .root | sha256sum }}
    spec: {{- include "switchyard.pod" . | nindent 6 }}
{{- end }}

{{- define "switchyard.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "switchyard.name" .root }}-{{ .component }}
  labels: {{- include "switchyard.allLabels" . | nindent 4 }}
spec:
  selector: {{- include "switchyard.labels" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .port }}, targetPort: http}
{{- end }}
