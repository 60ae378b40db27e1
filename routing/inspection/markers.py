"""Words that say what a text is about: health, and what lawyers keep to themselves. Counted, never read."""

from __future__ import annotations

from modelhub.ml.inspect.look import Look


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


HEALTH_WORDS = 3  # different ones: a single one is everyday speech
HEALTH = _words(
    "diagnosis", "diagnosed", "prognosis", "symptoms", "prescribed", "prescription", "mg", "dosage", "surgery", "biopsy",
    "chemotherapy", "oncology", "tumor", "tumour", "cancer", "diabetes", "diabetic", "hypertension", "asthma", "hiv",
    "hepatitis", "depression", "psychiatric", "schizophrenia", "pregnancy", "pregnant", "miscarriage", "allergies",
    "allergic", "allergy", "vaccination", "mri", "ct", "ecg", "ekg", "bp", "hypertensive", "medication", "medications",
    "antibiotics", "ibuprofen", "insulin", "metformin", "patient", "physician", "outpatient", "inpatient", "discharge",
    "nausea", "vomiting", "fever", "cough", "pain", "fracture", "lesion", "cardiac", "pulmonary", "renal", "hepatic",
    "stroke", "seizure", "seizures", "epilepsy", "dementia", "alzheimer", "arthritis", "pneumonia", "infection",
    "hospitalized", "icd", "bmi", "glucose", "cholesterol", "anemia", "thyroid", "migraine", "migraines", "colonoscopy",
)  # fmt: skip
STRONG_HEALTH = HEALTH - _words(
    "mg", "pain", "fever", "cough", "patient", "ct", "bp", "discharge", "stroke", "depression", "infection", "surgery",
    "medication", "cancer", "allergy", "physician", "pregnant", "pregnancy",
)  # fmt: skip
LEGAL_HINTS = _words(
    "privileged", "privilege", "attorney", "counsel", "prejudice", "seal", "subpoena", "litigation", "deposition",
)  # fmt: skip
_LEGAL = (
    "attorney-client", "attorney client", "privileged and confidential", "privileged & confidential", "legally privileged",
    "confidential and privileged", "confidential & privileged", "attorney work-product", "attorney work product",
    "without prejudice and", "without prejudice save", "without prejudice offer", "filed under seal", "litigation hold",
    "legal hold", "settlement offer",
)  # fmt: skip
_CHINESE_HEALTH = (
    "诊断", "病历", "处方", "症状", "手术", "化疗", "糖尿病", "高血压", "肿瘤", "癌", "过敏", "患者", "住院", "用药",
    "抑郁", "怀孕",
)  # fmt: skip
_CHINESE_LEGAL = ("律师函", "保密协议", "律师与客户", "庭审", "和解协议", "诉讼")


def kinds(look: Look) -> list[str]:
    """`health`, `legal`, or none."""
    found = []
    health = look.words & HEALTH
    if len(health) >= HEALTH_WORDS and not STRONG_HEALTH.isdisjoint(health):
        found.append("health")
    if not LEGAL_HINTS.isdisjoint(look.words) and any(phrase in look.lower for phrase in _LEGAL):
        found.append("legal")
    if len(look.data) > len(look.text):
        if sum(word in look.text for word in _CHINESE_HEALTH) >= HEALTH_WORDS:
            found.append("health")
        if sum(word in look.text for word in _CHINESE_LEGAL) >= 2:
            found.append("legal")
    return found
